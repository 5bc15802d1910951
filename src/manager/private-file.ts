/** Files with secrets: read only where nobody else may. */
import { readFileSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";
import { requirePrivate } from "../store/secret-file.ts";

/** @throws AbsError SECRET_FILE_OPEN, SECRET_FILE_UNREADABLE */
export function readPrivate(file: string): string {
  try {
    requirePrivate(file);
    return readFileSync(file, "utf8");
  } catch (cause) {
    if (cause instanceof AbsError && cause.code === "SECRET_FILE_OPEN") throw cause;
    throw new AbsError(
      "SECRET_FILE_UNREADABLE",
      `${file} cannot be read: ${messageOf(cause)}.`,
      "Check the path and who you are.",
      cause,
    );
  }
}
