import { useRef } from "preact/hooks";
import { BEHIND_INBOXES, afterOf, isChannelPrefix, listPath } from "../api/paging.ts";
import { useAnswer } from "../api/poll.ts";
import type { Channel, ChannelList } from "../api/shapes.ts";
import { bytes, count, rate } from "../format.ts";
import { ChannelLink, Empty, Pager, Refused, useTrail } from "../parts/bits.tsx";
import { Search } from "../parts/search.tsx";
import { linkTo, replaceQuery, route } from "../route.ts";

export function Channels() {
  const prefix = route.value.query.get("prefix") ?? "";
  const [trail, setTrail] = useTrail(prefix);
  const after = afterOf(trail) ?? (prefix === "" ? BEHIND_INBOXES : undefined);
  const path = isChannelPrefix(prefix) ? listPath("/v1/channels", { prefix, after, limit: PAGE }) : undefined;
  const { data: answer, refusal } = useAnswer<ChannelList>(path, 2000);
  const data = path === undefined ? NOTHING : answer;
  const rateOf = useRates(data);
  const channels = data?.channels ?? [];
  return (
    <>
      <div class="heading">
        <h1>Channels</h1>
        <p class="muted">
          Inboxes of <a href={linkTo("channels", undefined, { prefix: "$principal/" })}>principals</a>,{" "}
          <a href={linkTo("channels", undefined, { prefix: "$session/" })}>sessions</a>
        </p>
        <Search
          label="Name begins with"
          value={prefix}
          lengthMax={128}
          placeholder="news."
          isFirst
          search={(text) => replaceQuery({ prefix: text })}
        />
      </div>
      <Refused refusal={refusal} />
      {data !== undefined && channels.length === 0 && (
        <Empty>
          {prefix === ""
            ? "There are no channels. One exists once somebody publishes or subscribes to it."
            : "No channel has such a name."}
        </Empty>
      )}
      {channels.length > 0 && (
        <div class="panel scroll" tabIndex={0} role="region" aria-label="Channels">
          <table>
            <thead>
              <tr>
                <th scope="col">Channel</th>
                <th scope="col" class="number" title="Events published each second, over the last seconds">
                  Events/s
                </th>
                <th scope="col" class="number" title="Sessions that listen over a connection">
                  Subscribers
                </th>
                <th scope="col" class="number wide">
                  Members
                </th>
                <th scope="col" class="number" title="The newest event">
                  Head
                </th>
                <th scope="col" class="number wide" title="The oldest event that is kept">
                  Oldest
                </th>
                <th scope="col" class="number wide">
                  Kept
                </th>
                <th scope="col" class="number wide">
                  Size
                </th>
              </tr>
            </thead>
            <tbody>
              {channels.map((channel) => (
                <tr key={channel.name}>
                  <th scope="row" class="clip name">
                    <ChannelLink name={channel.name} />
                  </th>
                  <td class="number">{rateOf(channel)}</td>
                  <td class="number">{count(channel.subscriber_count)}</td>
                  <td class="number wide">{count(channel.member_count)}</td>
                  <td class="number">{count(channel.head)}</td>
                  <td class="number wide">{channel.head === 0 ? "–" : count(channel.first)}</td>
                  <td class="number wide">{count(keptOf(channel))}</td>
                  <td class="number wide">{bytes(channel.bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager
        what="channels"
        trail={trail}
        next={data?.next}
        go={setTrail}
        shown={data && `${count(channels.length)} shown, in the order of their names`}
      />
    </>
  );
}

export function keptOf({ first, head }: Pick<Channel, "first" | "head">): number {
  return head === 0 ? 0 : head - first + 1;
}

/** Events per second, from one look at the list to the next. */
function useRates(data: ChannelList | undefined): (channel: Channel) => string {
  const looks = useRef<{ data: ChannelList; atMs: number; heads: Map<string, Head> }[]>([]);
  if (data !== undefined && looks.current.at(-1)?.data !== data) {
    const heads = new Map(data.channels.map(({ name, head, epoch }) => [name, { head, epoch }]));
    looks.current = [...looks.current, { data, atMs: performance.now(), heads }].slice(-LOOK_COUNT);
  }
  return ({ name, head, epoch }) => {
    const now = looks.current.at(-1);
    const before = looks.current.find(({ heads }) => heads.get(name)?.epoch === epoch);
    const then = before?.heads.get(name);
    if (now === undefined || before === undefined || then === undefined || before === now) return "–";
    return rate(((head - then.head) * 1000) / (now.atMs - before.atMs));
  };
}

interface Head {
  readonly head: number;
  readonly epoch: string;
}

const NOTHING: ChannelList = { channels: [] };
const PAGE = 100;
/** Six seconds: steady enough to read, new enough to believe. */
const LOOK_COUNT = 4;
