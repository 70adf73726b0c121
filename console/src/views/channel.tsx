import { useEffect, useState } from "preact/hooks";
import { channelPath } from "../api/paging.ts";
import { useAnswer } from "../api/poll.ts";
import type { ChannelList, Channel as ChannelView, Member } from "../api/shapes.ts";
import { bytes, count, counted } from "../format.ts";
import { Empty, Refused, SessionLink } from "../parts/bits.tsx";
import { Log } from "../parts/log.tsx";
import { Sender } from "../parts/sender.tsx";
import { linkTo } from "../route.ts";
import { keptOf } from "./channels.tsx";

export function Channel({ name }: { readonly name: string }) {
  const { data, refusal } = useAnswer<ChannelList | ChannelView>(channelPath(name), 2000);
  const found = data !== undefined && "channels" in data ? data.channels[0] : data;
  const isHere = found?.name === name;
  const [last, setLast] = useState<ChannelView>();
  useEffect(() => {
    if (isHere) setLast(found);
  }, [found, isHere]);
  // A server that was restarted without a disk does not know it until somebody needs it again.
  const channel = isHere ? found : last;
  const isGone = refusal?.word === "unreachable" || (data !== undefined && !isHere);
  const isInbox = name.startsWith("$");
  return (
    <>
      <p class="crumbs">
        <a href={linkTo("channels")}>Channels</a>
      </p>
      <div class="heading">
        <h1 class="mono id">{name}</h1>
      </div>
      {isGone ? (
        <p class="notice">
          There is no such channel{last === undefined ? " yet" : " any more"}: it begins with the first event or
          subscriber.
        </p>
      ) : (
        <Refused refusal={refusal} />
      )}
      {channel !== undefined && <Facts channel={channel} />}
      <div class="columns">
        <section class="panel" aria-labelledby="log-heading">
          {channel === undefined ? (
            <h2 id="log-heading" class="pad">
              Log
            </h2>
          ) : (
            <Log channel={channel} isInbox={isInbox} />
          )}
        </section>
        <div>
          {!isInbox && (
            <section class="panel pad" aria-labelledby="publish-heading">
              <h2 id="publish-heading">Publish to it</h2>
              <Sender kinds={["publish"]} fixed={{ channel: name }} />
            </section>
          )}
          <Members name={name} />
        </div>
      </div>
    </>
  );
}

function Facts({ channel }: { readonly channel: ChannelView }) {
  const { head, first, epoch, subscriber_count: subscribers, member_count: members } = channel;
  return (
    <dl class="facts panel">
      <div>
        <dt>Head</dt>
        <dd>{count(head)}</dd>
      </div>
      <div>
        <dt>Oldest kept</dt>
        <dd>{head === 0 ? "–" : count(first)}</dd>
      </div>
      <div>
        <dt>Kept</dt>
        <dd>{counted(keptOf(channel), "event")}</dd>
      </div>
      <div>
        <dt>Size</dt>
        <dd>{bytes(channel.bytes)}</dd>
      </div>
      <div>
        <dt>Subscribers</dt>
        <dd>{count(subscribers)}</dd>
      </div>
      <div>
        <dt>Members</dt>
        <dd>{count(members)}</dd>
      </div>
      <div>
        <dt>Epoch</dt>
        <dd class="mono">{epoch}</dd>
      </div>
    </dl>
  );
}

function Members({ name }: { readonly name: string }) {
  const { data, refusal } = useAnswer<{ members: Member[] }>(`/v1/presence?channel=${encodeURIComponent(name)}`, 2000);
  const members = data?.members ?? [];
  return (
    <section class="panel" aria-labelledby="members-heading">
      <div class="panel-head">
        <h2 id="members-heading">Members</h2>
        <p class="muted">{data === undefined ? "" : counted(members.length, "session")}</p>
      </div>
      <Refused refusal={refusal} />
      {members.length === 0 ? (
        <Empty>Nobody is a member: sessions join with presence.</Empty>
      ) : (
        <ul class="members" tabIndex={0} aria-label="Members">
          {members.map(({ session, principal }) => (
            <li key={session}>
              <SessionLink id={session} /> <span class="clip">{principal}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
