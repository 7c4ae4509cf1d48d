import { z } from 'zod';

/** Characters of a pathway id. @spec draft-pantos-content-steering-05 §4 */
export const PATHWAY_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * The pathway of a variant without PATHWAY-ID, and so the one every playlist has that names none.
 * @spec rfc8216bis §4.4.6.2
 */
export const DEFAULT_PATHWAY_ID = '.';

/**
 * The id of a declared pathway. Ids made of dots alone are refused: hls.js gives those names to unnamed redundant
 * variants by itself.
 */
export const PathwayId = z
  .string()
  .regex(PATHWAY_ID_PATTERN, 'expected 1 to 64 characters of A-Z a-z 0-9 . _ -')
  .refine((id) => !/^\.+$/.test(id), 'a name made of dots alone belongs to the players');
