Console.WriteLine("DuplicateFinder: not written yet.");
