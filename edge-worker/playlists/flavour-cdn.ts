import { pathwayPriority, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';
import type { SnapshotCdn } from '#protocol/steering/steering-snapshot.ts';

/** A CDN in worse health than this is left by the players that cannot leave it by themselves. */
const HEALTH_MIN = 0.5;

/**
 * The CDN that a rendition's media come from for players of a flavour: the CDN that gave the flavour its name while it is
 * in use and well, else the one that the hash of stream and rendition puts first, so that what a broken CDN carried is
 * spread over the others by weight. Undefined when no CDN is known.
 */
export function flavourCdn(
  picture: SteeringPicture,
  streamId: string,
  renditionId: string,
  flavour: string,
): SnapshotCdn | undefined {
  const { cdns, streams } = picture.snapshot;
  const order = pathwayPriority(picture, {
    sessionId: `${flavour}/${renditionId}`,
    streamId,
    generation: 0,
    country: undefined,
    asn: undefined,
  });
  const named = (name: string): SnapshotCdn | undefined => cdns.find((cdn) => cdn.name === name);
  const own = order.includes(flavour) ? named(flavour) : undefined;
  const health = own === undefined ? 0 : (streams[streamId]?.[own.name] ?? own.health);
  if (own !== undefined && own.weight > 0 && health >= HEALTH_MIN) return own;
  return named(order.find((name) => name !== flavour) ?? order[0] ?? '') ?? own;
}
