// What a fork took over from the session it comes from. Its log begins with the parent's, up to the event that says so.

import { formatAddress } from "./address.js";
import { cost, short } from "./format.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** `thing` has the `seq` of the event that began it. */
export function isInherited(tree, thing) {
  return tree.forked !== null && thing.seq < tree.forked.seq;
}

/** The first session's page beside this one; empty for a name that no session can have. Steps of the node that was forked
 * have the numbers that they had there, other nodes were numbered anew. */
export function addressInParent(tree, node, step) {
  const { from_session, from_node } = tree.forked;
  if (!UUID.test(from_session)) return "";
  return `../${from_session}/${formatAddress(node.node === 0 ? { node: from_node, step: step.step } : { node: from_node })}`;
}

/** Usage that another session paid for, for people; empty when there is none. */
export function inheritedWords({ forked }) {
  const used = forked?.inherited;
  const tokens = used ? used.input_tokens + used.output_tokens : 0;
  if (!used || (used.lm_calls === 0 && tokens === 0)) return { cost: "", tokens: "", calls: "" };
  return {
    cost: `+ ${cost(used.cost_micro_usd, used.unpriced_calls)} inherited`,
    tokens: `+ ${short(tokens)} inherited`,
    calls: `+ ${short(used.lm_calls)} inherited`,
  };
}
