import { createInterface } from 'node:readline'
import { FEATURES } from './features/index.ts'

export interface Answers {
  folder?: string | undefined
  plugins?: string[] | undefined
  typescript?: boolean | undefined
  redisUrl?: string | undefined
}

/**
 * Asks a person for what is not given.
 * @returns null where they left
 */
export async function ask (given: Answers): Promise<Answers | null> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout })
  // Lines that come before they are asked for wait here.
  const lines = terminal[Symbol.asyncIterator]()
  let hasLeft = false
  const question = async (text: string, preset: string): Promise<string> => {
    if (hasLeft) return preset
    process.stdout.write(`${text} (${preset}): `)
    const { value, done } = await lines.next()
    hasLeft = done === true
    return hasLeft ? preset : (value as string).trim() || preset
  }
  const isYes = async (text: string): Promise<boolean> => /^y/i.test(await question(text, 'yes'))
  try {
    const folder = given.folder ?? await question('Folder', 'my-site')
    const typescript = given.typescript ?? await isYes('TypeScript')
    const plugins = given.plugins ?? []
    if (given.plugins === undefined) {
      for (const { name, about } of FEATURES) if (await isYes(`${name}: ${about}`)) plugins.push(name)
    }
    const redisUrl = given.redisUrl ?? await question('Redis, redis://…', 'none')
    return hasLeft ? null : { folder, typescript, plugins, redisUrl: redisUrl === 'none' ? '' : redisUrl }
  } finally {
    terminal.close()
  }
}
