use std::path::Path; use std::io; use std::sync::Arc;
#[derive(Debug)] pub struct DirectoryLock;
#[derive(Debug,Clone,Copy,PartialEq,Eq)] pub enum WriteMode{Direct,Buffered,BufferedSync}
#[derive(Debug)] pub struct FsDirectory;
impl FsDirectory { pub fn open(_:&Path,_:WriteMode)->io::Result<Self>{Ok(Self)} }
pub fn create_directory(_:&Path)->io::Result<()>{Ok(())}
pub fn lock_exclusive(_:&Path,_:&str,_:std::time::Duration)->io::Result<DirectoryLock>{Ok(DirectoryLock)}
pub fn read_small_file(_:&Path,_:&str,_:usize)->io::Result<Vec<u8>>{Ok(vec![])}
pub fn write_file_durably(_:&Path,_:&str,_:&[u8])->io::Result<()>{Ok(())}
pub fn probe_direct(_:&Path)->io::Result<bool>{Ok(true)}
impl super::Directory for FsDirectory { fn list(&self)->io::Result<Vec<String>>{todo!()} fn create(&self,_:&str,_:u64)->io::Result<Arc<dyn super::SegmentFile>>{todo!()} fn open(&self,_:&str,_:bool)->io::Result<Arc<dyn super::SegmentFile>>{todo!()} fn rename(&self,_:&str,_:&str)->io::Result<()>{todo!()} fn remove(&self,_:&str)->io::Result<()>{todo!()} fn path(&self)->String{todo!()} }
