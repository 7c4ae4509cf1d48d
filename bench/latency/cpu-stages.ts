import type { StageOf } from '#bench/machine/cpu-meter.ts';

/** The processes of a run, as far as their names do not tell. */
export type RunProcesses = {
  readonly benchPid: number;
  readonly systemPid: number;
  readonly broadcasterPid: number;
  readonly broadcasterFfmpegPid: number;
};

/** Which stage of the chain a process below the bench belongs to. */
export function stagesOf(processes: RunProcesses): StageOf {
  return ({ pid, name, commandLine }) => {
    if (pid === processes.benchPid) return 'bench itself';
    if (pid === processes.broadcasterPid) return 'publisher: picture';
    if (pid === processes.broadcasterFfmpegPid) return 'publisher: encoder';
    if (/chrom/.test(name))
      return commandLine.includes('--type=renderer') ? 'chromium: page' : 'chromium: rest';
    if (name.startsWith('ffmpeg')) return 'ladder: ffmpeg';
    if (name.startsWith('postgres')) return 'postgresql';
    if (pid === processes.systemPid) return 'services: node';
    // What is left below the system is the guarded RTMP ingest; npm's and a shell's own cost is nothing.
    return commandLine.includes('ingest') ? 'ingest: node' : 'other';
  };
}
