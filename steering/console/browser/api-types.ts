/** What the console reads of the API's answers. Fields that it does not show are not named here. */

export type Role = 'viewer' | 'operator' | 'admin';
export type Identity = { readonly name: string; readonly role: Role };
export type CdnState = 'healthy' | 'suspect' | 'ejected' | 'ramping' | 'unknown';

export type CdnView = {
  readonly name: string;
  readonly baseUrl: string;
  readonly weight: number;
  readonly enabled: boolean;
  readonly priorityClass: number;
  readonly generation: number;
  readonly status: {
    readonly effectiveWeight: number;
    /** Of the sessions, 0…1. */
    readonly expectedShare: number;
    readonly health: { readonly factor: number; readonly state: CdnState };
    readonly viewers: number;
    readonly gbps: number;
    readonly capacityFactor: number;
    readonly costFactor: number;
  };
};

export type CdnList = { readonly generation: number; readonly cdns: readonly CdnView[] };

export type HealthSample = {
  readonly atMs: number;
  readonly factor: number;
  readonly state: CdnState;
  readonly components: Readonly<Record<string, number>>;
};

export type HealthReport = {
  /** As the node that was asked sees it. */
  readonly here: {
    readonly reasons: readonly string[];
    readonly sinceMs: number;
    readonly components: Readonly<Record<string, number>>;
  };
  readonly history: readonly HealthSample[];
};

export type Simulation = {
  readonly sessions: number;
  readonly movedShare: number;
  readonly movements: readonly {
    readonly from: string;
    readonly to: string;
    readonly share: number;
    readonly viewers: number;
    readonly gbps: number;
  }[];
  readonly before: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
};

export type AuditEntry = {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly role: string;
  readonly action: string;
  readonly cdn: string | null;
  readonly reason: string;
  readonly before: unknown;
  readonly after: unknown;
};
export type AuditPage = { readonly entries: readonly AuditEntry[]; readonly nextCursor: string | null };

export type PlannedChange = {
  readonly id: string;
  readonly kind: 'scheduled' | 'revert';
  readonly cdn: string;
  readonly dueAt: string;
  readonly patch: Readonly<Record<string, unknown>>;
  readonly actor: string;
  readonly reason: string;
};

export type StreamDemand = { readonly streamId: string; readonly cdn: string; readonly viewers: number };
export type Status = {
  readonly event: boolean;
  readonly panic: boolean;
  readonly registry: { readonly source: string };
  readonly streams: readonly StreamDemand[];
};

/** The picture that answers are made from; of streams only those that fare differently somewhere. */
export type Snapshot = {
  readonly cdns: readonly { readonly name: string; readonly enabled: boolean; readonly health: number }[];
  readonly streams: Readonly<Record<string, Readonly<Record<string, number>>>>;
};

export type CdnChange = { readonly weight?: number; readonly enabled?: boolean };
export type ChangeRequest = CdnChange & { readonly reason: string; readonly revertAfter?: number };
