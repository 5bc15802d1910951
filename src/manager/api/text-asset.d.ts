/** A text embedded into the executable by `with { type: "text" }`. */
declare module "*.txt" {
  const text: string;
  export default text;
}
