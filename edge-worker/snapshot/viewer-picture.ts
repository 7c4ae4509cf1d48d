import { prepareSnapshot, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';

const LOOPBACK = /^(?:localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Whether a host of a URL is the machine that looks at it. */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname);
}

const REMOTE = new WeakMap<SteeringPicture, SteeringPicture>();

/**
 * The picture as a viewer can use it: CDNs on this very machine are nothing to one that comes from elsewhere. What is left
 * keeps its order, so that the viewer, who does not know the others, and steering agree all the same.
 *
 * @param hostname by which the viewer reached us
 */
export function viewerPicture(picture: SteeringPicture, hostname: string): SteeringPicture {
  if (isLoopback(hostname)) return picture;
  const known = REMOTE.get(picture);
  if (known !== undefined) return known;
  const { snapshot } = picture;
  const cdns = snapshot.cdns.filter(({ baseUrl }) => !isLoopback(new URL(baseUrl).hostname));
  const remote = cdns.length === snapshot.cdns.length ? picture : prepareSnapshot({ ...snapshot, cdns });
  REMOTE.set(picture, remote);
  return remote;
}
