/**
 * A sink that is an HTTP server: batches of lines by POST; a status of 200 to 299 is their
 * acknowledgement. What is wrong with the request itself (400, 413, 415, 422) is rejected, all
 * else tried again. Nothing of an answer is read, no redirection followed.
 */
import { messageOf } from "../../errors.ts";
import {
  type Delivery,
  down,
  rejected,
  type SinkItem,
  TAKEN,
  type Transport,
} from "./transport.ts";

const ANSWER_MS = 10_000;
const REJECTIONS = [400, 413, 415, 422];

export type WebhookPlan = {
  readonly url: string;
  readonly mediaType: string;
  /** Of `Authorization: Bearer`. */
  readonly token?: string;
  readonly ca?: string;
};

export class WebhookTransport implements Transport {
  readonly settleMs = 0;
  readonly batchMax = 200;
  onLost: (why: string) => void = () => {};
  readonly #abort = new AbortController();

  constructor(private readonly plan: WebhookPlan) {}

  async send(items: readonly SinkItem[]): Promise<Delivery> {
    const { url, mediaType, token, ca } = this.plan;
    const tls = ca === undefined ? {} : { tls: { ca } };
    try {
      const response = await fetch(url, {
        method: "POST",
        redirect: "error",
        headers: {
          "Content-Type": mediaType,
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        },
        body: items.map(({ text }) => `${text}\n`).join(""),
        signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(ANSWER_MS)]),
        ...tls,
      });
      void response.body?.cancel().catch(() => undefined);
      if (response.ok) return TAKEN;
      const why = `it answers ${response.status}`;
      return REJECTIONS.includes(response.status) ? rejected(why) : down(why);
    } catch (thrown) {
      return down(messageOf(thrown));
    }
  }

  close(): void {
    this.#abort.abort();
  }
}
