/** Points of Ed25519 whose order is small, little-endian, without the sign bit: for such a key some signatures fit every message. */
const SMALL_ORDER = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

/** True for an Ed25519 public key of small order, in any encoding. */
export function isSmallOrder(publicKey: Buffer): boolean {
  const bytes = Buffer.from(publicKey)
  bytes[31] = (bytes[31] as number) & 0x7f
  return SMALL_ORDER.has(bytes.toString('hex'))
}

/**
 * True for an RSA modulus with the fingerprint of ROCA (CVE-2017-15361; Nemec et al., "The Return of Coppersmith's
 * Attack", 2017): its private key can be computed. By chance a good modulus has it once in 2^27.
 */
export function hasRocaFingerprint(modulus: bigint): boolean {
  return ROCA_RESIDUES.every(([prime, residues]) => residues.has(Number(modulus % BigInt(prime))))
}

const ROCA_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]

/** For each prime, the subgroup that 65537 generates: where all moduli of the broken library lie. */
const ROCA_RESIDUES: [prime: number, residues: Set<number>][] = ROCA_PRIMES.map((prime) => {
  const residues = new Set<number>()
  for (let power = 1; !residues.has(power); power = (power * 65_537) % prime) residues.add(power)
  return [prime, residues]
})
