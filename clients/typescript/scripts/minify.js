import { minify as terser } from "terser";

/**
 * Makes a module small. With a map of where its text comes from, the result has one too, which it
 * names `mapName`.
 * @param {string} text
 * @param {string} [map]
 * @param {string} [mapName]
 */
export async function minify(text, map, mapName) {
  const { code = "", map: made } = await terser(text, {
    module: true,
    ecma: 2020,
    compress: {
      passes: 4,
      inline: false,
      sequences: false,
      hoist_funs: true,
      unsafe_methods: true,
      unsafe_arrows: true,
      pure_getters: true,
      keep_fargs: false,
      // The bundler of whoever imports it decides about that again, and does it better with functions as
      // they are.
      reduce_funcs: false,
    },
    ...(map === undefined || mapName === undefined ? {} : { sourceMap: { content: map, url: mapName } }),
  });
  return { code, map: typeof made === "string" ? made : "" };
}
