/** The slot of a Redis Cluster that keys with `{tag}` lie in: CRC16 (XMODEM) of the tag. */
export function slotOf (tag: string): number {
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff
  }
  return crc % 16384
}
