import { fork } from 'node:child_process'

/**
 * A script in a process of its own that answers questions over IPC: it sends one message when it is ready, and answers
 * `{ id, type, … }` with `{ id, … }`. It ends with the channel.
 */
export async function forked(file, env, execArgv = []) {
  const child = fork(file, { env: { ...process.env, NODE_ENV: 'production', ...env }, execArgv })
  const waiting = new Map()
  let next = 0
  const hello = new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code, signal) => {
      const error = new Error(`${file} ended with ${signal ?? code}`)
      reject(error)
      for (const answer of waiting.values()) answer.reject(error)
    })
  })
  const told = await hello
  child.on('message', ({ id, ...answer }) => {
    waiting.get(id)?.resolve(answer)
    waiting.delete(id)
  })
  return {
    ...told,
    pid: child.pid,
    ask: (type, rest) =>
      new Promise((resolve, reject) => {
        waiting.set(++next, { resolve, reject })
        child.send({ id: next, type, ...rest })
      }),
    signal: (name) => child.kill(name),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
    },
  }
}
