/** A user name or e-mail address as it is kept and looked up: the same letters come as different code points, from macOS decomposed and full-width from an IME. */
export function canonical (name: string): string {
  return name.normalize('NFKC').trim().toLowerCase()
}

/** As which an address may be stored, the likeliest first: before names had one form, it was in that in which it was typed. */
export function formsOf (address: string): string[] {
  return [...new Set([address.trim().toLowerCase(), canonical(address), canonical(address).normalize('NFD')])]
}
