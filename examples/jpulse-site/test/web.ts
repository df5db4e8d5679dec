import { request as httpRequest, type Agent, type IncomingHttpHeaders } from 'node:http'

export interface Answer { status: number, headers: IncomingHttpHeaders, text: string, worker: string }

export interface Ask { method?: string, json?: unknown, form?: Record<string, string>, cookie?: string, agent?: Agent | false }

/** One request, on a connection of its own unless an agent is given, so that PM2's workers answer in turn. */
export function ask (url: string, { method, json, form, cookie, agent = false }: Ask = {}): Promise<Answer> {
  const body = json !== undefined ? JSON.stringify(json) : form !== undefined ? new URLSearchParams(form).toString() : undefined
  const headers: Record<string, string> = {
    accept: 'text/html',
    'sec-fetch-site': 'same-origin',
    ...(cookie !== undefined && { cookie }),
    ...(body !== undefined && { 'content-type': json !== undefined ? 'application/json' : 'application/x-www-form-urlencoded', 'content-length': String(Buffer.byteLength(body)) })
  }
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, { method: method ?? (body === undefined ? 'GET' : 'POST'), headers, agent, timeout: 30_000 }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk }).once('error', reject)
      response.once('end', () => resolve({ status: response.statusCode!, headers: response.headers, text, worker: String(response.headers['x-worker']) }))
    })
    // A request that a worker takes along into its death is never answered.
    sent.once('timeout', () => sent.destroy(new Error(`no answer from ${url}`)))
    sent.once('error', reject).end(body)
  })
}

/** Signs in, or up, and returns the session's cookie. */
export async function session (address: string, path: '/sign-in' | '/sign-up', username: string, password: string): Promise<string> {
  const { status, headers, text } = await ask(address + path, { form: { username, email: `${username}@example.org`, password } })
  const cookie = headers['set-cookie']?.find((line) => line.startsWith('sessionId='))
  if (status !== 303 || cookie === undefined) throw new Error(`${path} of ${username}: ${status} ${/role="alert">([^<]*)/.exec(text)?.[1] ?? ''}`)
  return cookie.split(';')[0]!
}

/** Asks over new connections until each of so many workers has answered at least once; returns all answers. */
export async function fromAll (url: string, workers: number, options: Ask = {}): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let round = 0; new Set(answers.map(({ worker }) => worker)).size < workers; round++) {
    if (round === 50) throw new Error(`only ${new Set(answers.map(({ worker }) => worker)).size} of ${workers} workers answered`)
    answers.push(...await Promise.all(Array.from({ length: workers }, () => ask(url, options))))
  }
  return answers
}
