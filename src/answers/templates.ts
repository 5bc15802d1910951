/** Answers about templates of policies; what using one answers is in policies.ts. */
import { Type } from "typebox";
import { list, moment, said } from "./answer-values.ts";

const template = said("name of the template");

export const templateRows = list(
  Type.Object({
    template,
    parameters: said("names of what it wants to be told, with spaces between; empty: nothing"),
    by: said("who wrote it; `abs`: it comes with the program"),
    made: moment("when it was written; `-`: it comes with the program"),
    description: said("what its rules are for"),
  }),
  "by name",
);

export const templateShown = Type.Object({
  template,
  body: said("the YAML document, as it was written"),
});

/** Kept, or forgotten. */
export const templateNamed = Type.Object({ template });
