declare module "virtual:codes" {
  /** Why a connection ended. */
  export const ends: readonly {
    word: string;
    code?: number;
    client: "resume" | "start_fresh" | "stop" | "none";
    text: string;
  }[];
  /** Why a request failed. */
  export const errors: readonly { word: string; retry?: boolean; text: string }[];
  /** Why events cannot be delivered. */
  export const gaps: readonly { word: string; text: string }[];
}
