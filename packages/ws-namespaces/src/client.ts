// The client has a package of its own; it keeps the name here that it had.
export * from '@jpulse/ws-client'
