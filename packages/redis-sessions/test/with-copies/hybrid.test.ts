// The suite once more, where every application that has Redis serves copies of its sessions.
process.env.SESSION_COPIES = '1'
await import('../hybrid.test.ts')
export {}
