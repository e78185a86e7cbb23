// What the page calls a served model.

/** A model's name without its owner or folder. */
export function shortName(model) {
  return model.id.split("/").at(-1);
}
