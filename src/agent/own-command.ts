/**
 * The command line that runs this program again: for the agent's guard, the lab's agents and the
 * bench's child processes. Compiled it is the executable alone; from source Bun runs the script.
 */
export function ownCommand(): string[] {
  const isCompiled = Bun.main.startsWith("/$bunfs/");
  return isCompiled ? [process.execPath] : [process.execPath, Bun.main];
}
