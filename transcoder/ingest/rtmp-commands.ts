import type { AmfValue } from './amf0-reader.ts';

/** What a connect command says, as far as it matters to us. */
export type ConnectRequest = {
  readonly tcUrl: string;
  readonly app: string;
  readonly objectEncoding: number;
};

const APP_PATTERN = /^[A-Za-z0-9_./-]{1,128}$/;
const STREAM_NAME_PATTERN = /^[A-Za-z0-9_-]+$/;
/** Every application is one to us: two publishers with one key must meet, whatever they write before it. */
const APP = 'live';
/** Answers are AMF0 whatever the peer would like. */
const OBJECT_ENCODING_AMF0 = 0;

/** The answer to a connect command that cannot be followed; its transaction id is to be added. */
export const CONNECT_REJECTED = {
  cmd: '_error',
  cmdObj: null,
  info: {
    level: 'error',
    code: 'NetConnection.Connect.Rejected',
    description: 'Connect to rtmp://host[:port]/app.',
  },
} as const;

/**
 * Reads the command object of a connect command.
 *
 * @returns undefined when it does not say where it wants to go
 * @spec RTMP 1.0 §7.2.1.1
 */
export function readConnect(commandObject: AmfValue): ConnectRequest | undefined {
  if (!(commandObject instanceof Map)) return undefined;
  const members = commandObject as ReadonlyMap<string, AmfValue>;
  const app = members.get('app');
  const tcUrl = members.get('tcUrl');
  if (typeof app !== 'string' || typeof tcUrl !== 'string') return undefined;
  if (!APP_PATTERN.test(app.split('?')[0] ?? '')) return undefined;
  const url = URL.canParse(tcUrl) ? new URL(tcUrl) : undefined;
  if (url === undefined || !/^rtmp[a-z]?:$/.test(url.protocol)) return undefined;
  return { tcUrl, app: APP, objectEncoding: OBJECT_ENCODING_AMF0 };
}

/**
 * The stream key in the name of a publish command; what follows a question mark is not part of it.
 *
 * @returns undefined when it is no possible key
 * @spec RTMP 1.0 §7.2.2.6
 */
export function readStreamName(name: AmfValue, lengthMax: number): string | undefined {
  if (typeof name !== 'string') return undefined;
  const key = name.split('?')[0] ?? '';
  return key.length <= lengthMax && STREAM_NAME_PATTERN.test(key) ? key : undefined;
}
