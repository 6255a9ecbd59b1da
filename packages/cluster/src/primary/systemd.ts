/**
 * Listening sockets that systemd passed to this process: descriptors from 3 on (sd_listen_fds(3)). The variables are
 * removed, so that workers do not take them for their own.
 */
export function systemdSockets(env: NodeJS.ProcessEnv = process.env, pid: number = process.pid): number[] {
  const { LISTEN_PID, LISTEN_FDS } = env
  delete env.LISTEN_PID
  delete env.LISTEN_FDS
  delete env.LISTEN_FDNAMES
  const count = Number(LISTEN_FDS)
  if (Number(LISTEN_PID) !== pid || !Number.isInteger(count) || count < 1) return []
  return Array.from({ length: count }, (_, index) => 3 + index)
}
