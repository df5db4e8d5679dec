/** A user name or e-mail address as it is kept and looked up: the same letters come as different code points, from macOS decomposed and full-width from an IME. */
export function canonical (name: string): string {
  return name.normalize('NFKC').trim().toLowerCase()
}
