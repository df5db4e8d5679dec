import { createClient } from './create-client.ts'
import { environment } from './environment.ts'
import type { Address, Client, ClientOptions, Messages } from './types.ts'

export { ClientError, type Address, type Client, type ClientOptions, type Connected, type Messages, type NamespaceOptions, type Protocol, type QueueOptions, type Received, type Status, type StatusDetail } from './types.ts'

/**
 * Connects to a namespace.
 *
 * @typeParam M what is said in the namespace, a `Protocol`; or what the server sends, `{ type: data }`
 * @typeParam S what this client sends, where the first one is not a `Protocol`
 * @param address absolute, or in a page relative to it: `/api/1/ws/chat`. A function, which may be async, is asked at each attempt;
 * who is refused then tries once more before it is `auth-required`.
 * @throws ClientError with the code INVALID_ADDRESS where the address is none: outside of a page it is absolute; TypeError where the
 * environment has no WebSocket and none is passed
 */
export function connect<M = Messages, S = Messages> (address: Address, options: ClientOptions = {}): Client<M, S> {
  return createClient(address, options, environment) as unknown as Client<M, S>
}
