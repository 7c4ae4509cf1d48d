/**
 * Comes with every answer about a protected stream, with the value `token`: whoever shares the answer among viewers has
 * to see a valid token of each of them.
 */
export const ACCESS_HEADER = 'livehls-access';
