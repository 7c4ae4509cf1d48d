import type { OriginSettings } from '#origin/settings.ts';

/** What the main process tells a worker. */
export type ToWorker =
  | {
      readonly do: 'start';
      readonly settings: OriginSettings;
      readonly mainUrl: string;
      readonly workers: number;
    }
  | { readonly do: 'metrics'; readonly request: number }
  | { readonly do: 'close' };

/** What a worker tells the main process. `metrics` as prom-client's registry gives them as JSON. */
export type FromWorker =
  | { readonly is: 'serving'; readonly port: number }
  | { readonly is: 'failed'; readonly message: string }
  | { readonly is: 'metrics'; readonly request: number; readonly metrics: object };
