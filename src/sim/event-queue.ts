/**
 * What will happen in a simulation, by time; equal times in the order they were put in, so that a
 * seed replays exactly. A binary heap.
 */

export class EventQueue<Event> {
  private readonly times: number[] = [];
  private readonly orders: number[] = [];
  private readonly events: Event[] = [];
  private count = 0;

  get size(): number {
    return this.events.length;
  }

  /** When the first event is due; Infinity when there is none. */
  get nextTime(): number {
    return this.times[0] ?? Number.POSITIVE_INFINITY;
  }

  add(time: number, event: Event): void {
    let at = this.events.length;
    const order = this.count++;
    // The hole moves up to where the event belongs, and is written once.
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((this.times[parent] as number) <= time) break;
      this.move(parent, at);
      at = parent;
    }
    this.write(at, time, order, event);
  }

  /** Takes the first event out; undefined when there is none. */
  take(): Event | undefined {
    const first = this.events[0];
    const time = this.times.pop();
    const order = this.orders.pop();
    const event = this.events.pop();
    if (this.events.length === 0 || time === undefined || order === undefined) return first;
    this.sink(time, order, event as Event);
    return first;
  }

  /** The last event, whose place is gone: the hole at the top moves down to where it belongs. */
  private sink(time: number, order: number, event: Event): void {
    const size = this.events.length;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= size) break;
      const right = left + 1;
      const isRight =
        right < size &&
        this.isBefore(right, this.times[left] as number, this.orders[left] as number);
      const child = isRight ? right : left;
      if (!this.isBefore(child, time, order)) break;
      this.move(child, at);
      at = child;
    }
    this.write(at, time, order, event);
  }

  private isBefore(at: number, time: number, order: number): boolean {
    const own = this.times[at] as number;
    return own < time || (own === time && (this.orders[at] as number) < order);
  }

  private move(from: number, to: number): void {
    this.write(
      to,
      this.times[from] as number,
      this.orders[from] as number,
      this.events[from] as Event,
    );
  }

  private write(at: number, time: number, order: number, event: Event): void {
    this.times[at] = time;
    this.orders[at] = order;
    this.events[at] = event;
  }
}
