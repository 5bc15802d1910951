/** A file embedded into the executable by `with { type: "file" }`: its default export is a path. */
declare module "*.so" {
  const path: string;
  export default path;
}
