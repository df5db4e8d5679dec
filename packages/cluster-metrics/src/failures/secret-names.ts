/** Parts of names whose values are secrets. */
const PARTS = new Set([
  'password', 'passwd', 'passwort', 'passphrase', 'passcode', 'pwd', 'pw', 'secret', 'secrets', 'token', 'credential', 'credentials', 'creds', 'apikey', 'authorization',
  'cookie', 'cookies', 'jwt', 'bearer', 'csrf', 'xsrf', 'otp', 'totp', 'mfa', 'pin', 'cvv', 'cvc', 'ssn', 'iban', 'signature', 'sig', 'hmac', 'mnemonic', 'seed', 'salt', 'pepper'
])
/** Ends of parts that were written together: `pgpassword`, `accesstoken`. */
const ENDS = ['password', 'passwd', 'passphrase', 'secret', 'token', 'apikey', 'credentials', 'privatekey', 'secretkey', 'accesskey', 'encryptionkey', 'pwd']
/** What makes a secret of a `key` that follows. */
const KEYS = new Set(['api', 'access', 'account', 'admin', 'app', 'auth', 'client', 'consumer', 'cookie', 'crypto', 'decryption', 'deploy', 'encryption', 'encrypt', 'enc', 'host', 'jwt', 'license', 'licence', 'master', 'hmac', 'private', 'secret', 'server', 'service', 'session', 'shared', 'sign', 'signing', 'storage', 'subscription', 'webhook', 'write'])
/** Secrets only where the value does not look like a word. */
const WEAK = new Set(['pass', 'auth', 'session', 'sessionid', 'sid', 'key', 'code', 'nonce', 'private', 'hash', 'card', 'cardnumber', 'pat'])

/** `userPassword`, `DB_PASSWORD` and `x-db.password` have the parts user/db and password. */
function partsOf (name: string): string[] {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([A-Z]+)([A-Z][a-z])/g, '$1 $2').toLowerCase().split(/[^a-z0-9]+/).filter(Boolean)
}

/** Whether a name says that its value is a secret: by its parts, so that no prefix hides it. */
export function isSecretName (name: string): boolean {
  const parts = partsOf(name)
  return parts.some((part, index) => PARTS.has(part) || ENDS.some((end) => part.endsWith(end)) || (part === 'key' && KEYS.has(parts[index - 1] ?? '')))
}

/** Whether a name may say so. */
export function isWeakName (name: string): boolean {
  return partsOf(name).some((part) => WEAK.has(part))
}
