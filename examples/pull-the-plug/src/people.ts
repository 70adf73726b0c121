import { byId, element } from "./element.ts";
import type { Room } from "./room.ts";

let shown = "";

/** Shows who is here: the members of the room's channel, under the names that they gave. */
export function showPeople(room: Room): void {
  const { state } = room.session;
  // Whoever is connected is here, also where a server that has just come back has not said so yet.
  const here = new Set(room.members);
  if (state.name === "open") here.add(state.session);
  const people = [...here].map((session) => {
    const joined = room.people.get(session);
    const isSelf = session === room.sessionId;
    return { name: joined?.name ?? session.slice(0, 8), isSelf };
  });
  people.sort((one, other) => one.name.localeCompare(other.name));
  const now = JSON.stringify(people);
  if (now === shown) return;
  shown = now;
  const items = people.map(({ name, isSelf }) =>
    element("li", isSelf ? "is-self" : "", isSelf ? `${name} (you)` : name),
  );
  byId("people").replaceChildren(...items);
}
