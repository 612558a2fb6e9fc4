// MPI for the length of main: started by the constructor, ended by the destructor; every MPI communicator lives in
// between. Where something else has started MPI already (a test program's main), it is used and left running.
#pragma once

#include <string>

namespace leda::distributed {

class MpiSession {
 public:
  // Error(communication) where MPI grants fewer threads than needed (MPI_THREAD_SERIALIZED), or where a launcher
  // announced N ranks but each process found itself alone.
  MpiSession();
  // Waits for the other ranks, except while an exception passes: then they may never come, and the job is aborted.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // True where every rank calls this within that time. For a rank that is about to leave and cannot know whether the
  // others are too: one that left alone would wait for them for ever.
  bool everybody_arrives_within(double seconds) const;
  // Ends all ranks with this exit code, now.
  [[noreturn]] void abort(int exit_code) const;

 private:
  bool owns_mpi_ = false;
  int rank_ = 0;
  int size_ = 1;
  int exceptions_at_start_ = 0;
};

// To be called before MPI starts. Open MPI's non-blocking sum in place goes up and down a tree: every rank's bytes pass
// one link twice, one after the other. A ring uses all links at once (docs/methods/gradient_synchronisation.md), at the
// price of more rounds, which only matters to small messages between very many ranks; beyond 64 the choice stays Open
// MPI's. A user's own choice (mpirun --mca) stays, too; other MPIs do not read the variable.
void prefer_ring_sums();

// How many ranks the launcher announces, and by which variable: OMPI_COMM_WORLD_SIZE, PMI_SIZE (MPICH's), SLURM_NTASKS.
struct AnnouncedWorld {
  int size = 0;  // 0 = no launcher says anything
  std::string variable;
};
AnnouncedWorld announced_world();

// Error(communication) if OMPI_COMM_WORLD_SIZE, PMI_SIZE or SLURM_NTASKS announce more than one rank while MPI found
// one: the N processes would each train alone, into the same folder. That refuses also the one process that a batch
// script of N tasks starts by itself: mpirun -np 1 says that one is meant.
void check_launched_world(int world_size);

}  // namespace leda::distributed
