// Many websocket clients in one process. They read frames by hand, so that the load costs less than what is measured.
import { connect } from 'node:net'

const { ports, count, raw } = JSON.parse(process.env.CLIENTS)
const SAMPLED = 25 // Every so many clients the latency is looked at.
const AT_ONCE = 50
const path = raw ? '/' : '/socket.io/?EIO=4&transport=websocket'
const counts = new Int32Array(count)
let received = 0
let awaited = Infinity
let reached
let lost = 0
let latencies = []
const now = () => Number(process.hrtime.bigint()) / 1e6

/** A text frame of a client: masked, with a mask that changes nothing. */
function frame(text) {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}
const CONNECT = frame('40')
const PONG = frame('3')
const CLOSE = Buffer.from([0x88, 0x80, 0, 0, 0, 0])
const M = 'm'.charCodeAt(0)

function open(index) {
  return new Promise((resolve) => {
    const port = ports[index % ports.length]
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      ),
    )
    let upgraded = false
    let rest
    function onFrame(data, start, end) {
      const isMessage = raw
        ? data[start + 2] === M
        : data[start] === 0x34 && data[start + 1] === 0x32 && data[start + 4] === M
      if (isMessage) {
        counts[index]++
        if (index % SAMPLED === 0) {
          const text = data.latin1Slice(start, end)
          const at = text.indexOf('"at":') + 5
          latencies.push(now() - Number(text.slice(at, text.indexOf(',', at))))
        }
        if (++received >= awaited) reached()
      } else if (raw) return
      else if (data[start] === 0x30) socket.write(CONNECT)
      else if (data[start] === 0x32) socket.write(PONG)
      else if (data[start] === 0x34 && data[start + 1] === 0x30) resolve()
    }
    socket.on('data', (chunk) => {
      let data = rest ? Buffer.concat([rest, chunk]) : chunk
      rest = undefined
      if (!upgraded) {
        const end = data.indexOf('\r\n\r\n')
        if (end < 0) return void (rest = data)
        if (!data.latin1Slice(0, 12).endsWith('101')) return socket.destroy()
        upgraded = true
        data = data.subarray(end + 4)
        if (raw) resolve()
      }
      let i = 0
      while (data.length - i >= 2) {
        let length = data[i + 1] & 127
        let start = i + 2
        if (length === 126) {
          if (data.length - i < 4) break
          length = data.readUInt16BE(start)
          start += 2
        }
        if (data.length < start + length) break
        if ((data[i] & 15) === 8) socket.end(CLOSE)
        else onFrame(data, start, start + length)
        i = start + length
      }
      if (i < data.length) rest = data.subarray(i)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      lost++
      resolve()
    })
  })
}

const commands = {
  async connect() {
    const start = performance.now()
    let next = 0
    const worker = async () => {
      while (next < count) await open(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    return { ms: performance.now() - start }
  },
  /** Resolves when all clients together have got so many messages since the last reset, or after 30 s. */
  async received({ total }) {
    if (received < total)
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 30_000)
        awaited = total
        reached = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    awaited = Infinity
    return {}
  },
  reset() {
    received = 0
    counts.fill(0)
    latencies = []
    return {}
  },
  /** Who has not got exactly so many messages, or is gone, is a failure. */
  stats({ each }) {
    latencies.sort((a, b) => a - b)
    const at = (share) => latencies[Math.floor(latencies.length * share)]
    return { failures: lost + counts.filter((n) => n !== each).length, p50: at(0.5), p99: at(0.99) }
  },
}
process.on('message', async ({ id, type, ...rest }) => process.send({ id, ...(await commands[type](rest)) }))
process.on('disconnect', () => process.exit(0))
process.send({})
