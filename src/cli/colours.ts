/**
 * No colours where nobody sees them (https://no-color.org). The library that prints help looks for
 * NO_COLOR=1 when it is loaded, so this file is the first that main.ts imports.
 */
const { NO_COLOR = "" } = process.env;
if (NO_COLOR !== "" || !process.stdout.isTTY) process.env["NO_COLOR"] = "1";
