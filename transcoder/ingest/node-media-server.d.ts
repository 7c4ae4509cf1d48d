/**
 * The parts of node-media-server 4.4.3 that the guard uses, as its source has them. It ships no types.
 */

declare module 'node-media-server/src/protocol/rtmp.js' {
  namespace Rtmp {
    /** The state of one chunk stream. */
    type ChunkStream = {
      header: {
        fmt: number;
        cid: number;
        timestamp: number;
        length: number;
        type: number;
        stream_id: number;
      };
      /** Timestamp of the message under way, ms. */
      clock: number;
      payload: Buffer;
      capacity: number;
      /** Bytes of the message under way that are in. */
      bytes: number;
    };
    type ConnectMessage = {
      transId: number;
      cmdObj: { tcUrl: string; app: string; objectEncoding: number };
    };
    type PublishMessage = { streamName: string };
  }

  /** Handshake, chunk stream and answers of one connection. */
  class Rtmp {
    /** 0 before the first byte, 3 when the handshake is done. */
    handshakeState: number;
    parserBuffer: Buffer;
    parserBasicBytes: number;
    parserPacket: Rtmp.ChunkStream;
    inPackets: Map<number, Rtmp.ChunkStream>;
    inChunkSize: number;
    streamId: number;
    ackSize: number | undefined;
    onConnectCallback: (request: { app: string; name: string; host: string; query: object }) => void;
    onPlayCallback: () => void;
    onPushCallback: () => void;
    onPacketCallback: (packet: never) => void;
    onOutputCallback: (bytes: Buffer) => void;
    /** @returns an error message, or null */
    parserData(bytes: Buffer): string | null;
    packetParse(): void;
    chunkMessageHeaderRead(): number;
    packetAlloc(): void;
    packetHandler(): void;
    onConnect(message: Rtmp.ConnectMessage): void;
    onCreateStream(message: { transId: number }): void;
    onPublish(message: Rtmp.PublishMessage): void;
    respondPublish(): void;
    sendACK(byteCount: number): void;
    sendInvokeMessage(streamId: number, message: object): void;
    sendStatusMessage(streamId: number, level: string, code: string, description: string): void;
  }
  export = Rtmp;
}

declare module 'node-media-server/src/server/broadcast_server.js' {
  /** The one publisher of a stream path, and what its players get. */
  class BroadcastServer {
    constructor(streamPath: string);
    publisher: object | null;
    publishGraceMs: number;
    /** Ends the publish at once, without the grace. */
    _finishPublish: () => void;
  }
  export = BroadcastServer;
}

declare module 'node-media-server/src/session/rtmp_session.js' {
  import type { Socket } from 'node:net';
  import type BroadcastServer from 'node-media-server/src/server/broadcast_server.js';
  import type Rtmp from 'node-media-server/src/protocol/rtmp.js';

  /** One RTMP connection. Its handlers are fields, wired by `run()`: replace them before. */
  class RtmpSession {
    constructor(socket: Socket);
    id: string;
    rtmp: Rtmp;
    broadcast: BroadcastServer;
    streamPath: string;
    isPublisher: boolean;
    run: () => void;
    onPlay: () => void;
    onPush: () => void;
    onOutput: (bytes: Buffer) => void;
    onPacket: (packet: never) => void;
    onData: (bytes: Buffer) => void;
    onClose: () => void;
    onError: (error: Error) => void;
  }
  export = RtmpSession;
}

declare module 'node-media-server/src/core/context.js' {
  const Context: {
    config: object;
    sessions: Map<string, object>;
    broadcasts: Map<string, object>;
  };
  export = Context;
}

declare module 'node-media-server/src/core/logger.js' {
  const logger: { log: (message: string, level?: string) => void };
  export = logger;
}
