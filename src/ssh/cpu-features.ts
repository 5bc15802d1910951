/**
 * Stands in for npm `cpu-features`, a native part that ssh2 can do without. tsconfig.json sends its
 * `require` here when the program is bundled: left to itself, a compiled program would look for the
 * package in the folder that it is started in, and run whatever lies there.
 */
export default undefined;
