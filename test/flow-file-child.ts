/** Child of flow-file.test.ts: fills a flow file and waits to be killed. Arguments: path, flows. */

import { openFlowFile } from "../src/dataplane/flow-file.ts";
import {
  F_PEER,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_WORDS,
} from "../src/dataplane/flow-table.ts";

const [path = "", count = "0"] = process.argv.slice(2);
const { flows } = openFlowFile({
  path,
  capacity: 1000,
  digest: new Uint8Array(32).fill(7),
  limits: { peers: 4, pairs: 8, tags: 3, rules: 5 },
  nowSeconds: 100,
});
for (let i = 0; i < Number(count); i++) {
  const hash = flows.hashOf(1, 2, i, 6, 0, 0, 0, 0, 0, 0);
  const flow = flows.insert(hash, 1, 2, i, 6, 100);
  const at = flow * FLOW_WORDS;
  flows.words[at + F_PEER] = (5 << 16) | 2;
  flows.words[at + F_TAG_RULE] = (1 << 16) | 3;
  if (i % 3 !== 0) flows.words[at + F_STATE] = FLOW_ALLOWED;
  if (i % 10 === 9) flows.remove(flow);
}
process.stdout.write("ready\n");
setInterval(() => {}, 1000);
