import { randomUUID } from 'node:crypto'
import type { Collection } from 'mongodb'
import type { MongoLink } from 'server-kit'

interface Todo {
  id: string
  text: string
  done: boolean
  /** Who added it. */
  by: string
}

export interface TodoDocument extends Omit<Todo, 'id'> {
  _id: string
  createdAt: Date
}

/** The list that everybody edits. Each item is a document, so that two people who change two items lose nothing. */
export interface Todos {
  list (): Promise<Todo[]>
  add (text: string, by: string): Promise<Todo>
  /** The item as it is now; null where it is gone. */
  toggle (id: string, done: boolean): Promise<Todo | null>
  remove (id: string): Promise<void>
}

/** The most that are listed. */
const TODOS_MAX = 200

export function memoryTodos (): Todos {
  const todos = new Map<string, Todo>()
  return {
    async list () { return [...todos.values()].slice(-TODOS_MAX) },
    async add (text, by) {
      const todo = { id: randomUUID(), text, done: false, by }
      todos.set(todo.id, todo)
      return todo
    },
    async toggle (id, done) {
      const todo = todos.get(id)
      if (todo === undefined) return null
      const changed = { ...todo, done }
      todos.set(id, changed)
      return changed
    },
    async remove (id) { todos.delete(id) }
  }
}

export function mongoTodos (collection: Collection<TodoDocument>, link: MongoLink): Todos {
  return {
    list: () => link.use(async () => {
      const newest = await collection.find().sort({ createdAt: -1, _id: 1 }).limit(TODOS_MAX).toArray()
      return newest.reverse().map(toTodo)
    }),
    add: (text, by) => link.use(async () => {
      const document = { _id: randomUUID(), text, done: false, by, createdAt: new Date() }
      await collection.insertOne(document)
      return toTodo(document)
    }),
    toggle: (id, done) => link.use(async () => {
      const document = await collection.findOneAndUpdate({ _id: id }, { $set: { done } }, { returnDocument: 'after' })
      return document === null ? null : toTodo(document)
    }),
    remove: (id) => link.use(async () => { await collection.deleteOne({ _id: id }) })
  }
}

function toTodo ({ _id, text, done, by }: TodoDocument): Todo {
  return { id: _id, text, done, by }
}
