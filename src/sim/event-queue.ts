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
    this.write(at, time, this.count++, event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.isBefore(at, parent)) break;
      this.swap(at, parent);
      at = parent;
    }
  }

  /** Takes the first event out; undefined when there is none. */
  take(): Event | undefined {
    const first = this.events[0];
    const time = this.times.pop();
    const order = this.orders.pop();
    const event = this.events.pop();
    if (this.events.length === 0 || time === undefined || order === undefined) return first;
    this.write(0, time, order, event as Event);
    this.sink();
    return first;
  }

  private sink(): void {
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= this.events.length) return;
      const right = left + 1;
      const child = right < this.events.length && this.isBefore(right, left) ? right : left;
      if (!this.isBefore(child, at)) return;
      this.swap(child, at);
      at = child;
    }
  }

  private isBefore(a: number, b: number): boolean {
    const timeA = this.times[a] as number;
    const timeB = this.times[b] as number;
    return (
      timeA < timeB || (timeA === timeB && (this.orders[a] as number) < (this.orders[b] as number))
    );
  }

  private write(at: number, time: number, order: number, event: Event): void {
    this.times[at] = time;
    this.orders[at] = order;
    this.events[at] = event;
  }

  private swap(a: number, b: number): void {
    const [time, order, event] = [this.times[a], this.orders[a], this.events[a]];
    this.write(a, this.times[b] as number, this.orders[b] as number, this.events[b] as Event);
    this.write(b, time as number, order as number, event as Event);
  }
}
