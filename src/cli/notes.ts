/**
 * Words for people beside a command's result: progress, warnings, errors and their remedies. They
 * go to standard error only, so that standard output is the result and nothing else.
 */
import { createConsola, LogLevels } from "consola";

/** The level is ours: by itself it hides remedies where it believes that a test is running. */
export const notes = createConsola({
  level: LogLevels.info,
  stdout: process.stderr,
  stderr: process.stderr,
});
