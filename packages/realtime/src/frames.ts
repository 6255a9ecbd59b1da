/** The part of Socket.IO's adapters that encodes a broadcast, once for all its sockets. */
interface Encoder {
  _encode(packet: unknown, options: { wsPreEncodedFrame?: Buffer[] }): unknown
}

/**
 * Makes one buffer of a broadcast's websocket frame, whose header and payload come as two: every socket's write is then
 * one plain write instead of a gathered one. The frame is made once, the writes as often as there are sockets.
 */
export function joinFrames(adapter: object): void {
  const encoder = adapter as Partial<Encoder>
  const encode = encoder._encode
  if (!encode) return
  encoder._encode = function encodeJoined(packet, options) {
    const encoded = encode.call(adapter, packet, options)
    const frame = options.wsPreEncodedFrame
    if (frame && frame.length > 1) options.wsPreEncodedFrame = [Buffer.concat(frame)]
    return encoded
  }
}
