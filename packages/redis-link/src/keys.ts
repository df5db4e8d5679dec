/** The only builder of Redis keys and channels: `<siteId>:<env>:<part>:…`. */
export class Keys {
  readonly prefix: string

  constructor (siteId: string, env: string) {
    this.prefix = `${siteId}:${env}:`
  }

  /** A key or channel of this site. The parts are joined as they are: whoever takes one from a visitor encodes it. */
  key (...parts: string[]): string {
    return this.prefix + parts.join(':')
  }
}
