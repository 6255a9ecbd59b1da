// A small load client: prints one line of JSON { requests, failures, hangs, errors }. No retries, ever: whatever the
// server does to a request is counted. A request that has no answer within $HANG ms (default 5,000) is a hang.
//   node client.mjs <mode> <port> <requests> <connections> [maxMs]
// TARGET: another path than that of the mode.
// UNTIL: ms since 1970 at which it stops.
// modes: think (kept-alive connections, a pause before each request), busy (kept-alive, no pause), one (a connection for
// each request), post (bodies), slow (a handler of 50 ms), websocket (echo over upgraded connections), pipeline (eight
// requests at once on kept-alive connections; those behind an answer that says `Connection: close` are sent again: the
// server must not have begun them)
import { Agent, request } from 'node:http'
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const [mode, portText, requestsText, connectionsText, pauseText = '0'] = process.argv.slice(2)
const port = Number(portText)
const total = Number(requestsText)
const clients = Number(connectionsText)
const pause = Number(pauseText)
const HANG = Number(process.env.HANG ?? 5_000)
const stopAt = process.env.UNTIL ? Number(process.env.UNTIL) : Number.POSITIVE_INFINITY

const counts = { requests: 0, failures: 0, hangs: 0, reconnects: 0 }
const errors = {}
const pids = new Set()
let begun = 0

function failed(reason) {
  counts.failures += 1
  errors[reason] = (errors[reason] ?? 0) + 1
}

/** One request over the agent. Resolves when it was answered, failed or hung. */
function ask(agent, options, body) {
  return new Promise((resolve) => {
    let settled = false
    const settle = (reason) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      counts.requests += 1
      if (reason === 'hang') counts.hangs += 1
      else if (reason) failed(reason)
      resolve()
    }
    const timer = setTimeout(() => {
      settle('hang')
      message.destroy()
    }, HANG)
    const message = request({ port, host: '127.0.0.1', agent, ...options }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => (text += chunk))
      response.on('aborted', () => settle('aborted'))
      response.on('error', (error) => settle(error.code ?? error.message))
      response.on('end', () => {
        if (response.statusCode !== 200) return settle(`status ${response.statusCode}`)
        if (body !== undefined && JSON.parse(text).body?.data !== body.data) return settle('wrong body')
        pids.add(JSON.parse(text).pid)
        settle()
      })
    })
    message.on('error', (error) => settle(error.code ?? error.message))
    message.on('socket', (socket) => {
      if (!message.reusedSocket && !socket.counted) {
        socket.counted = true
        counts.reconnects += 1
      }
    })
    if (body !== undefined) message.end(JSON.stringify(body))
    else message.end()
  })
}

const next = () => begun < total && Date.now() < stopAt && ++begun

async function http(index) {
  const keepAlive = mode !== 'one'
  const agent = new Agent({ keepAlive, maxSockets: 1 })
  while (next()) {
    if (pause > 0) await sleep(Math.random() * pause)
    if (mode === 'post') {
      const data = String(index).padEnd(20_000, 'x')
      const length = Buffer.byteLength(JSON.stringify({ data }))
      const headers = { 'content-type': 'application/json', 'content-length': length }
      await ask(agent, { path: '/echo', method: 'POST', headers }, { data })
    } else await ask(agent, { path: process.env.TARGET ?? (mode === 'slow' ? '/slow?ms=50' : '/') })
  }
  agent.destroy()
}

/** Echoes text over one upgraded connection; a connection closed by the server with 1001 or 1012 is opened again. */
async function websocket() {
  while (next()) {
    await new Promise((resolve) => {
      const socket = createConnection(port, '127.0.0.1')
      let timer
      let buffer = ''
      const settle = (reason) => {
        clearTimeout(timer)
        if (reason === 'hang') counts.hangs += 1
        else if (reason) failed(reason)
        socket.removeAllListeners('close')
        socket.destroy()
        resolve()
      }
      const send = () => {
        counts.requests += 1
        clearTimeout(timer)
        timer = setTimeout(() => settle('hang'), HANG)
        socket.write('echo\n')
      }
      socket.on('error', (error) => settle(error.code ?? error.message))
      socket.on('close', () => settle('closed while waiting'))
      socket.on('data', (chunk) => {
        buffer += chunk
        if (buffer.startsWith('HTTP/1.1 101') && buffer.includes('\r\n\r\n')) {
          counts.reconnects += 1
          buffer = buffer.slice(buffer.indexOf('\r\n\r\n') + 4)
          send()
          return
        }
        for (let end = buffer.indexOf('\n'); end >= 0; end = buffer.indexOf('\n')) {
          const line = buffer.slice(0, end)
          buffer = buffer.slice(end + 1)
          // The server leaves only between two messages: 'bye' answers the last one.
          if (line === 'bye') return settle()
          if (line !== 'echo') return settle(`unexpected ${line}`)
          if (!next()) return settle()
          if (pause > 0) setTimeout(send, Math.random() * pause)
          else send()
        }
      })
      timer = setTimeout(() => settle('hang'), HANG)
      socket.write('GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    })
  }
}

/** Eight requests at once, then eight answers, over and over on one connection until it is told that it ends. */
async function pipeline() {
  while (begun < total && Date.now() < stopAt) {
    await new Promise((resolve) => {
      const socket = createConnection(port, '127.0.0.1')
      counts.reconnects += 1
      let waiting = 0
      let text = ''
      let closing = false
      let timer
      const settle = (reason) => {
        clearTimeout(timer)
        if (reason === 'hang') counts.hangs += 1
        else if (reason) failed(reason)
        // Not begun by the server, so they are somebody's still to send.
        begun -= waiting
        socket.removeAllListeners('close')
        socket.destroy()
        resolve()
      }
      const send = () => {
        let batch = ''
        while (waiting < 8 && next()) {
          batch += `GET ${process.env.TARGET ?? '/fixed'} HTTP/1.1\r\nHost: test\r\n\r\n`
          waiting += 1
        }
        if (waiting === 0) return settle()
        timer = setTimeout(() => settle('hang'), HANG)
        socket.write(batch)
      }
      socket.once('connect', send)
      socket.on('error', (error) => settle(error.code ?? error.message))
      socket.on('close', () => settle(closing ? undefined : `closed with ${waiting} unanswered`))
      socket.on('data', (chunk) => {
        text += chunk
        for (;;) {
          const end = text.indexOf('\r\n\r\n')
          const length = Number(/^content-length: (\d+)/im.exec(text)?.[1])
          if (end < 0 || text.length < end + 4 + length) break
          const head = text.slice(0, end)
          text = text.slice(end + 4 + length)
          if (!head.startsWith('HTTP/1.1 200')) return settle(head.slice(0, 12))
          if (closing) return settle('an answer after close')
          closing = /^connection: close/im.test(head)
          waiting -= 1
          counts.requests += 1
        }
        if (waiting > 0 || closing) return
        clearTimeout(timer)
        send()
      })
    })
  }
}

const clientOf = { websocket, pipeline }
const began = performance.now()
await Promise.all(Array.from({ length: clients }, (_, index) => (clientOf[mode] ?? http)(index)))
console.log(JSON.stringify({ ...counts, pids: pids.size, ms: Math.round(performance.now() - began), errors }))
process.exit(0)
