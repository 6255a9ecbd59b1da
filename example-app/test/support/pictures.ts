import sharp from 'sharp'

/** A landscape, as a JPEG of some 30 kB: what a visitor would add. */
export function landscape(sky: [string, string], land: string): Promise<Buffer> {
  const hills = (y: number, opacity: number): string =>
    `<path d="M0 1200V${y}Q300 ${y - 260} 620 ${y - 20}T1100 ${y - 120}T1600 ${y - 10}V1200Z" fill="${land}" opacity="${opacity}"/>`
  return sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="1200"><defs><linearGradient id="sky" x2="0" y2="1"><stop stop-color="${sky[0]}"/><stop offset="1" stop-color="${sky[1]}"/></linearGradient></defs>
      <rect width="1600" height="1200" fill="url(#sky)"/><circle cx="1150" cy="330" r="95" fill="#fff" opacity=".85"/>${hills(700, 0.45)}${hills(860, 0.75)}${hills(1010, 1)}</svg>`,
    ),
  )
    .jpeg({ quality: 85 })
    .toBuffer()
}

/** Noise does not shrink: a PNG of about the given number of bytes, for uploads that take their time. */
export function heavyPicture(bytes: number): Promise<Buffer> {
  const side = Math.ceil(Math.sqrt(bytes / 3))
  return sharp({
    create: {
      width: side,
      height: side,
      channels: 3,
      background: '#888',
      noise: { type: 'gaussian', mean: 128, sigma: 90 },
    },
  })
    .png()
    .toBuffer()
}
