/**
 * RFC 9381 appendix B.3, examples 16 to 18 of ECVRF-EDWARDS25519-SHA512-TAI, with either library's
 * curve.
 */
import { describe, expect, test } from "bun:test";
import { EcvrfProver, EcvrfVerifier } from "./ecvrf.ts";
import { vrfLibrary } from "./edwards25519.ts";
import type { VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";
import { NobleEdwards } from "./noble-edwards.ts";
import { bytesOf } from "./sha256.ts";

const EXAMPLES = [
  {
    name: "16",
    secret: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    alpha: "",
    gamma: "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f",
    rest:
      "26f8a57ccaed74ee1b190bed1f479d97" +
      "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805",
    beta:
      "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff" +
      "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
  },
  {
    name: "17",
    secret: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    key: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    alpha: "72",
    gamma: "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed593",
    rest:
      "3bf0864a62558b3ed7f2fea45c92a465" +
      "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02",
    beta:
      "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb" +
      "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
  },
  {
    name: "18",
    secret: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    key: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    alpha: "af82",
    gamma: "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf80",
    rest:
      "96bb474e53895c362d8628ee9f9ea3c0" +
      "e52c7a5c691b6c18c9979866568add7a2d41b00b05081ed0f58ee5e31b3a970e",
    beta:
      "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45" +
      "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
  },
];

const CURVES = [
  { name: vrfLibrary().name, curve: vrfLibrary().curve },
  { name: "noble", curve: new NobleEdwards() },
];

describe.each(CURVES)("$name", ({ curve }) => {
  const verifier = new EcvrfVerifier(curve);

  test.each(EXAMPLES)("example $name proves and verifies as printed", (example) => {
    const prover = new EcvrfProver(bytesOf(example.secret), curve);
    const alpha = bytesOf(example.alpha);
    const proof = prover.prove(alpha);
    expect(prover.publicKey).toBe(example.key as VrfPublicKey);
    expect(proof.toHex()).toBe(example.gamma + example.rest);
    expect(verifier.verify(prover.publicKey, alpha, proof)).toBe(example.beta as VrfBeta);
  });

  test("no byte of a proof can change, nor its key, input or length", () => {
    const [one, other] = EXAMPLES.map(({ secret }) => new EcvrfProver(bytesOf(secret), curve));
    if (one === undefined || other === undefined) throw new Error("no examples");
    const alpha = bytesOf("01");
    const proof = one.prove(alpha);
    for (let i = 0; i < proof.length; i++) {
      const changed = Uint8Array.from(proof) as VrfProof;
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(verifier.verify(one.publicKey, alpha, changed)).toBeUndefined();
    }
    expect(verifier.verify(other.publicKey, alpha, proof)).toBeUndefined();
    expect(verifier.verify(one.publicKey, bytesOf("02"), proof)).toBeUndefined();
    expect(verifier.verify(one.publicKey, alpha, proof.slice(1) as VrfProof)).toBeUndefined();
  });

  test.each([
    ["of order 1", `01${"00".repeat(31)}`],
    ["of order 2", `ec${"ff".repeat(30)}7f`],
    ["of order 4", "00".repeat(32)],
    ["not canonical", "ff".repeat(32)],
    ["short", "00"],
    ["no hexadecimal", "zz".repeat(32)],
  ])("a key that is %s is refused", (_, key) => {
    expect(verifier.isPublicKey(key as VrfPublicKey)).toBe(false);
  });
});
