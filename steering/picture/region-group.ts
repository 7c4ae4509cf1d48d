import { servesRegion, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';

/**
 * Which of the CDNs with regions serve a viewer, as a short text: their places among all CDNs of the registry, in base 36
 * and joined by full stops. Viewers of one group have the same choice. Means the same on every node that holds the same
 * generation of the registry.
 */
export function regionGroup(
  picture: SteeringPicture,
  from: { readonly country: string | undefined; readonly asn: number | undefined },
): string {
  if (!picture.regional) return '';
  let group = '';
  for (const [index, cdn] of picture.cdns.entries()) {
    const limited = cdn.countrySet.size > 0 || cdn.asnSet.size > 0;
    if (limited && servesRegion(cdn, from)) group += (group === '' ? '' : '.') + index.toString(36);
  }
  return group;
}

/** Whether the CDN at a place among all CDNs serves the viewers of a group. */
export function groupServedBy(group: string): (index: number, limited: boolean) => boolean {
  const members = new Set(group === '' ? [] : group.split('.').map((place) => parseInt(place, 36)));
  return (index, limited) => !limited || members.has(index);
}
