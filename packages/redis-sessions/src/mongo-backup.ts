export interface MongoBackupOptions { intervalMs?: number }
export interface MongoBackupCollection { name: string }
export function mongoBackup (): never { throw new Error('later') }
