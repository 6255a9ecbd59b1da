import { type ChildProcess, spawn } from 'node:child_process'
import type { Primary } from './types.ts'

/**
 * Tells systemd how the service is (sd_notify(3)): READY, RELOADING, STOPPING, WATCHDOG, and a STATUS line. Node has no
 * datagram sockets in the file system, so `systemd-notify`, which every systemd has, does it: the unit needs
 * `Type=notify` (or `notify-reload`) and `NotifyAccess=all`. Without NOTIFY_SOCKET nothing happens.
 */
export function startSdNotify(
  primary: Primary,
  warn: (message: string) => void,
  env: NodeJS.ProcessEnv = process.env,
): { stop(): void } {
  const socket = env.NOTIFY_SOCKET
  const watchdog = Number(env.WATCHDOG_USEC)
  // Workers have nothing to tell.
  delete env.NOTIFY_SOCKET
  delete env.WATCHDOG_USEC
  if (!socket) return { stop: () => undefined }
  let broken = false
  let reloading = false
  const waiting: string[][] = []
  let busy = false

  /** One after the other: of two processes at a time the later one may well speak first. */
  function notify(...fields: string[]): void {
    if (broken) return
    waiting.push(fields)
    if (!busy) next()
  }

  function next(): void {
    const fields = waiting.shift()
    busy = fields !== undefined
    if (fields) speak(fields).on('exit', next)
  }

  function speak(fields: string[]): ChildProcess {
    const child = spawn('systemd-notify', fields, {
      env: { ...env, NOTIFY_SOCKET: socket },
      stdio: 'ignore',
    })
    child.on('error', (error) => {
      broken = true
      warn(`systemd is not told how the service is: systemd-notify can't be run (${error.message})`)
    })
    child.unref()
    return child
  }

  const status = (): string => {
    const ready = primary.slots.filter(({ worker }) => worker?.state === 'ready').length
    return `STATUS=${ready} of ${primary.slots.length} workers ready on ${primary.addresses.join(' ')}`
  }
  let up = false
  primary.events.on('ready', () => {
    if (up) return
    up = true
    notify('READY=1', `MAINPID=${primary.pid}`, status())
  })
  primary.events.on('progress', (progress) => {
    if (!progress || reloading) return
    reloading = true
    notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`)
  })
  primary.events.on('reload', (result) => {
    reloading = false
    notify('READY=1', result.ok ? status() : `STATUS=reload given up: ${result.reason}`)
  })
  primary.events.on('stopping', () => {
    if (broken) return
    // At once: the launcher may be gone before those that wait had their turn.
    waiting.length = 0
    speak(['STOPPING=1'])
  })

  // As long as one worker answers the service lives; single workers that hang are the launcher's own business.
  const beat = (): void => {
    const alive = primary.slots.some(({ worker }) => worker?.state === 'ready')
    // One that waits for its turn says it already.
    if (alive && !waiting.some(([field]) => field === 'WATCHDOG=1')) notify('WATCHDOG=1')
  }
  const timer = watchdog > 0 ? setInterval(beat, watchdog / 2_000) : undefined
  return { stop: () => clearInterval(timer) }
}
